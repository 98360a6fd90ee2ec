"""Object-based image analysis: segments of an image, what they are like, and what that says about them;
and checked polygons cut into patches."""
