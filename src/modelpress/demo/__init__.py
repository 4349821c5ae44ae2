"""The demonstration: a real model through a real server by the official SDK, every step checked."""
