"""Judgement of denoised particles: against their truth, and on pure noise."""
