"""Static metadata of maxl_sr."""

from pathlib import Path

from setuptools import find_packages, setup

setup(
    name='maxl_sr',
    version='0.1.0',
    description='Test-time adaptation for image restoration with meta-learning: a plugin for BasicSR',
    long_description=Path(__file__).with_name('README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    license_files=['LICENSE'],
    python_requires='>=3.10,<3.13',
    # The option files stand beside the package in a checkout and inside it when installed.
    packages=[*find_packages(include=['maxl_sr', 'maxl_sr.*']), 'maxl_sr.options'],
    package_dir={'maxl_sr.options': 'options'},
    package_data={'maxl_sr': ['weights/*'], 'maxl_sr.options': ['*/*.yml', 'options.schema.json']},
    install_requires=[
        'torch>=2.6', 'torchvision', 'basicsr==1.4.2', 'numpy', 'opencv-python', 'lmdb', 'pyyaml', 'pillow', 'psutil',
        'pydantic>=2.11', 'pyvips[binary]', 'scipy', 'tqdm',
        'setuptools; python_version >= "3.12"',  # for distutils, see maxl_sr/compat.py
    ],
    entry_points={'console_scripts': ['maxl-sr = maxl_sr.__main__:main']},
    extras_require={
        'web': ['gradio>=6', 'scikit-image'],
        'heic': ['pillow-heif'],
        'export': ['onnx', 'onnxscript', 'onnxruntime', 'safetensors'],
        'test': ['pytest', 'hypothesis', 'pillow-heif', 'matplotlib', 'ruff', 'mypy', 'types-PyYAML', 'types-psutil',
                 'types-tqdm', 'setuptools', 'wheel', 'playwright', 'spandrel', 'jsonschema'],
        'demo': ['scikit-image'],
        'docs': ['mkdocs-material', 'mkdocstrings[python]'],
        'benchmark': ['matplotlib', 'higher', 'torchopt'],
    },
    classifiers=[
        'Programming Language :: Python :: 3.10',
        'Programming Language :: Python :: 3.11',
        'Programming Language :: Python :: 3.12',
    ],
)
