"""The calibrated engine (extra ``calibrate``: torch, transformers): one decoder block at a time."""
