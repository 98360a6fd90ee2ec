"""Object-based image analysis: segments, what they are like, what that says; checked polygons cut into patches."""
