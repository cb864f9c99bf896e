"""The science of polardenoise: PyTorch and files, nothing of Scipion.

Data flows one way: read -> group -> denoise -> write. Everything here runs where Scipion is not
installed.
"""
