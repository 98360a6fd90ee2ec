"""The packages of the wheel, ``configs/`` as ``tf_landslide.configs`` among them; pyproject.toml has all else."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["tf_landslide*", "serving*"]), "tf_landslide.configs"],
    package_dir={"tf_landslide.configs": "configs"},
    package_data={
        "": ["py.typed", "*.jinja", "*.css", "*.js"],
        "tf_landslide.models": ["*.json"],
        "tf_landslide.configs": ["*.yaml"],
        "tf_landslide.objects": ["rules/*.yaml"],
    },
)
