"""How files become batches: manifests, labels, containers, the data set and its sampling order.

Nothing is imported here, so that manifests and label files can be read and written without fairseq.
"""
