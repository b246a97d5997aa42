"""A prompt lies where its image lies in SAM's input, and each of its cells counts."""

import pytest
import torch
from segment_anything.utils.transforms import ResizeLongestSide

from ser_nnunet.sam.guide import SAMGuide, token_weights

PATCHES = [(192, 160), (160, 192), (224, 192), (56, 40), (320, 320), (512, 128), (30, 37)]
SIZES = [256, 512, 1024]
TOKEN = 16  # pixels of SAM's input


def axes(patch, size):
    """The cells, the pixels of the patch (padded to whole cells) and those of the resized picture, along each axis."""
    cells = [-(-edge // 4) for edge in patch]
    padded = [4 * count for count in cells]
    return zip(cells, padded, ResizeLongestSide.get_preprocess_shape(*padded, size), strict=True)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("patch", PATCHES)
def test_tokens_read_the_prompt_at_their_own_place(patch, size):
    """A prompt that holds the position of its cells gives each token its own position, in pixels of the patch."""
    for cells, padded, picture in axes(patch, size):
        weights = token_weights(cells, picture / TOKEN)
        token = TOKEN * padded / picture
        positions = (torch.arange(len(weights)) + 0.5) * token
        read = weights @ ((torch.arange(cells) + 0.5) * 4)
        reach = max(token, 4)  # nearer to the edges cells are missing on one side
        inner = (positions > reach) & (positions < padded - reach)
        assert inner.any()
        torch.testing.assert_close(read[inner], positions[inner], atol=0.2, rtol=0)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("patch", PATCHES)
def test_every_cell_of_the_prompt_counts_and_tokens_are_averages(patch, size):
    for cells, _, picture in axes(patch, size):
        weights = token_weights(cells, picture / TOKEN)
        assert weights.shape == (-(-picture // TOKEN), cells)
        assert (weights >= 0).all() and (weights.sum(0) > 0).all()
        torch.testing.assert_close(weights.sum(1), torch.ones(len(weights)))


@pytest.mark.parametrize("patch", [(192, 160), (160, 192), (512, 128)])
def test_the_last_token_reads_the_last_cells_and_gradients_reach_all(dummy_sam, patch):
    """On both axes, and through SAM's decoder."""
    guide = SAMGuide(dummy_sam)
    cells, _, picture = zip(*axes(patch, guide.image_size), strict=True)
    prompt = torch.rand(1, 1, 256, *cells, requires_grad=True)
    placed = guide.place_prompts(prompt, picture)
    rows, columns = -(-picture[0] // TOKEN), -(-picture[1] // TOKEN)
    last = (
        torch.autograd.grad(placed[..., rows - 1, columns - 1].sum(), prompt, retain_graph=True)[0].abs().sum(2)[0, 0]
    )
    assert last[-1, -1] > 0 and not last[0].any() and not last[:, 0].any()
    guide(torch.randn(1, 1, *patch), prompt).square().sum().backward()
    assert (prompt.grad.abs().sum(2) > 0).all()
