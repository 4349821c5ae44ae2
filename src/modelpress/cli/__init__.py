"""The command line: data on stdout, all else on stderr; exit 0 done, 1 failed, 2 wrong usage."""
