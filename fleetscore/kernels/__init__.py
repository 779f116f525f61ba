"""Loops compiled to machine code: how they are declared, kept on disk, and compiled ahead for an image or a
package.
"""
