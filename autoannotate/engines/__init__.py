"""Who encodes: this process (`autoannotate.models.encoding`), or the machines of a Ray cluster."""
