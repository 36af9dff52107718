"""Point what a package loads by a name of the Hub to local folders; shared by oracles."""


class FromFolder:
    """Stands for a class of transformers: `from_pretrained(name)` loads the folder of that name."""

    def __init__(self, original, folders):
        self.original = original
        self.folders = folders

    def from_pretrained(self, name, **options):
        return self.original.from_pretrained(self.folders[name], **options)

    def __getattr__(self, name):
        return getattr(self.original, name)


def use_folders(module, folders, *names):
    """Replace classes that a module imported from transformers."""
    for name in names:
        setattr(module, name, FromFolder(getattr(module, name), folders))


def use_chexbert(module, folder):
    """Let RadEval's module of CheXbert load `chexbert.pth` and `tokenizer/` of a folder."""
    use_folders(module, {"bert-base-uncased": f"{folder}/tokenizer"}, "AutoConfig", "BertTokenizer")
    module.hf_hub_download = lambda **_: f"{folder}/chexbert.pth"
