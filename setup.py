"""What pyproject.toml cannot say: the option files stand beside the package, and inside it when it is installed."""

from setuptools import find_packages, setup

setup(packages=[*find_packages(include=['maxl_sr', 'maxl_sr.*']), 'maxl_sr.options'],
      package_dir={'maxl_sr.options': 'options'})
