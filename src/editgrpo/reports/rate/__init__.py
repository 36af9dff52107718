"""The annotator `rate`: RaTE-NER entities with BioLORD embeddings, as RaTEScore reads a report."""
