"""Projects that people have already: their particles, denoised by the plugin under Scipion."""
