//! The model of elements that fail and are repaired, against which the selection rule is tested.
