//! On-disk formats: named safetensors entries per layer, and the `quantization_config` that lists them.
