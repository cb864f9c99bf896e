r"""BibTeX of the works that the protocols cite, as Scipion reads it: from this docstring.

@article{anden2025,
  title = {Joint Denoising of Cryo-{EM} Projection Images using Polar Transformers},
  author = {Andén, Joakim and Sagemüller, Justus},
  journal = {arXiv preprint arXiv:2506.11283},
  year = {2025},
  url = {https://arxiv.org/abs/2506.11283}
}

@article{scheres2012,
  title = {{RELION}: Implementation of a {Bayesian} approach to cryo-{EM} structure determination},
  author = {Scheres, Sjors H. W.},
  journal = {Journal of Structural Biology},
  volume = {180},
  number = {3},
  pages = {519-530},
  year = {2012},
  doi = {10.1016/j.jsb.2012.09.006},
  url = {https://doi.org/10.1016/j.jsb.2012.09.006}
}

@article{rosenthal2003,
  title = {Optimal determination of particle orientation, absolute hand, and contrast loss in
    single-particle electron cryomicroscopy},
  author = {Rosenthal, Peter B. and Henderson, Richard},
  journal = {Journal of Molecular Biology},
  volume = {333},
  number = {4},
  pages = {721-745},
  year = {2003},
  doi = {10.1016/j.jmb.2003.07.013},
  url = {https://doi.org/10.1016/j.jmb.2003.07.013}
}
"""
