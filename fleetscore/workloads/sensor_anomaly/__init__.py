"""Sensor anomalies: one one-class SVM per sensor says which readings of an hour are not like those it was
trained on.
"""
