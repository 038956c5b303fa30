"""Recordings for every rule: those that it must speak of, and those that it must not.

`CASES` of each file here is `{rule name: (positives, negatives)}`, both lists of `Case`s, whose
`parameters`, `waited` seconds and `ranks` a rule may need. Healthy recordings, broken ones and
short ones are the suite's own; a negative is a hard case of this one rule.
"""
