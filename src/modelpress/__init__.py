"""modelpress: self-hosted model compression behind Baidu Qianfan's model-compression API."""

__version__ = "0.1.0"
