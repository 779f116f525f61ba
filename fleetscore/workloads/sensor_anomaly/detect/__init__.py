"""Detectors beside the one-class SVM, their calibration, and the severity and events that come of them."""
