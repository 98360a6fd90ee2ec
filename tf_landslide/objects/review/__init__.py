"""A person's judgement of polygons: pictures before and after, decisions in a journal, agreement of two reviewers."""
