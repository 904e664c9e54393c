"""From a data set as it was downloaded to manifests: the work behind `asda-manifest`.

Each known data set has a module that reads its layout and returns a `Plan`: which clips belong to which split, with
which labels. `writing.write_plan` does what is the same for all: headers are read, unusable clips left out and
reported, and all files appear together or not at all.
"""
