"""The page for upload-and-view."""

import sys

if __name__ == "__main__":
    sys.exit("error: the page comes with the page issue; until then use: tf-landslide predict MODEL INPUT.h5 --out DIR")
