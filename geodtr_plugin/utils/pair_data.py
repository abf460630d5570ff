"""What a data set may tell of a training pair besides its two images and its place: the names, by which parts ask."""

OFFSET = "offset"  # float32 [2]: where the query stands in its reference, see `datasets.Offsets`
SEMI_POSITIVE = "semi_positive"  # uint8 [3, h, w]: another reference that shows the query's place, drawn at random
SEMI_POSITIVE_OFFSET = "semi_positive_offset"  # float32 [2]: where the query stands in that one
PAIR_DATA = (OFFSET, SEMI_POSITIVE, SEMI_POSITIVE_OFFSET)
