"""trigpoint: find landmarks in images precisely, from few annotated examples."""

__version__ = "0.1.0"
