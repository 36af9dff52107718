"""What every prepared set is: tables of studies, a store of images, a card, and the account."""
