"""Does a server answer as documented? Checks over any way of calling it, and the documents they stand on."""
