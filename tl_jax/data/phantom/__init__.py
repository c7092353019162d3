"""A simulated chest: `patient` is the anatomy, `thorax` its path lengths, `consolidation` the disease,
`physics` the X-ray machine.

Lengths are centimetres, attenuations per centimetre. The frame is the viewer's: x to the right of the
picture (the patient's left), y down, z along the beam towards the detector, so away from the back.
"""
