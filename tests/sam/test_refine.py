"""SAM prompted by a network's masks gives what segment_anything's own predictor gives."""

import torch
from segment_anything import SamPredictor
from torch.nn.functional import interpolate

from ser_nnunet.sam.guide import NO_MASK, SAMGuide
from ser_nnunet.sam.picture import to_rgb
from ser_nnunet.sam.refine import refine


def test_sam_refines_a_mask_as_its_predictor_does(dummy_sam):
    """The same box and mask prompts by `SamPredictor` give the same logits."""
    guide, image = SAMGuide(dummy_sam), torch.randn(1, 1, 64, 64)
    wanted = torch.full((1, 64, 64), -6.0)
    wanted[0, 10:30, 20:50] = 6
    edge = dummy_sam.image_encoder.img_size
    predictor = SamPredictor(dummy_sam)
    resized = interpolate(to_rgb(image, (0,)), (edge, edge), mode="bilinear", align_corners=False, antialias=True)
    predictor.set_torch_image(resized, (64, 64))
    scaled = interpolate(wanted[None], (edge, edge), mode="bilinear", align_corners=False)
    rows, columns = (scaled[0, 0] > 0).any(1).nonzero().flatten(), (scaled[0, 0] > 0).any(0).nonzero().flatten()
    box = torch.tensor([[columns[0], rows[0], columns[-1], rows[-1]]]).float()
    low = interpolate(scaled, dummy_sam.prompt_encoder.mask_input_size, mode="area")
    expected = predictor.predict_torch(None, None, box, low, multimask_output=False, return_logits=True)[0]
    torch.testing.assert_close(refine(guide, guide.encode(image)[0], wanted), expected[0], atol=1e-4, rtol=0)


def test_an_empty_mask_stays_empty(dummy_sam):
    guide = SAMGuide(dummy_sam)
    masks = torch.full((2, 48, 40), -1.0)
    masks[0, 5:9, 5:9] = 1
    refined = refine(guide, guide.encode(torch.randn(1, 1, 48, 40))[0], masks)
    assert (refined[1] == NO_MASK).all() and not (refined[0] == NO_MASK).any()
