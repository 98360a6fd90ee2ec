"""What the page does: models to choose from, uploads, pictures, downloads; and the page itself, by Gradio."""

import os

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when Gradio is imported
