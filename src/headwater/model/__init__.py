"""The mathematics: plain modules, their loss, their initialisation, their counts."""
