"""What the page does: models to choose from, uploads, pictures, downloads. ``gradio_app.py`` only draws it."""
