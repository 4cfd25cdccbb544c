"""Pure maths of focus: images in, numbers and decisions out."""
