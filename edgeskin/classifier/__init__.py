"""The object users hold."""

from edgeskin.classifier.classifier import Classifier as Classifier
