"""Invented report sentences, from which tests make vocabularies and texts."""

SENTENCES: tuple[str, ...] = (
    "The heart size is normal.",
    "The cardiac silhouette is mildly enlarged.",
    "There is a small left pleural effusion.",
    "No pleural effusion or pneumothorax is seen.",
    "The lungs are clear without focal consolidation.",
    "Patchy opacity at the right lung base may reflect atelectasis or pneumonia.",
    "Mild pulmonary edema has improved since the prior study.",
    "A right internal jugular catheter ends in the lower superior vena cava.",
    "The endotracheal tube ends 4 cm above the carina.",
    "Old healed fractures of the left sixth and seventh ribs.",
    "A 12 mm nodule projects over the right upper lobe.",
    "The mediastinal contours are widened, unchanged.",
    "Low lung volumes with bibasilar crowding of the vessels.",
    "Degenerative changes of the thoracic spine.",
    "Blunting of the costophrenic angle suggests scarring.",
    "Median sternotomy wires are intact; hyperinflation in keeping with emphysema.",
)
