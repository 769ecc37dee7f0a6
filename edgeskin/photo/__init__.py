"""Reading of photos: headers, decoding, and the photos that paths name."""
