"""A small signed HTTP client for our own CLI and demonstration; others use Baidu's SDKs."""
