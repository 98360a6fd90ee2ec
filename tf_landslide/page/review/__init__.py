"""The page on which a person judges polygons: ``tf-landslide review``. A small server of its own, without Gradio."""
