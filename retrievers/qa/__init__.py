"""Retrieval of question-answer pairs (PAQ; Lewis et al., 2021), and how right their answers are."""
