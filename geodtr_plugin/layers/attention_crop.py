"""The crop that attention guides: a Transformer that sees the patches to which an earlier one attends most."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .vit import EXTRA_TOKENS


class DistilledTower(nn.Module):
    """A distilled Transformer; the mean of its two heads, ImageNet's classifiers to begin with, is the embedding.

    Source: Zhu et al., CVPR 2022.
    """

    def __init__(self, trunk: nn.Module):
        super().__init__()
        self.trunk = trunk

    def forward(self, images: Tensor) -> Tensor:
        """Map `[B, 3, H, W]` to `[B, D]` of unit norm."""
        return unit(self.trunk(images))


class CroppedTower(DistilledTower):
    """A tower that sees only the patches of an image to which its guide attends most.

    Args:
        trunk: a distilled Transformer.
        guide: of images of any size, which it resizes.
        keep: share of the patches that enter the trunk.

    Raises:
        ValueError: `keep` leaves no patch.

    Source: Zhu et al., CVPR 2022, attention-guided non-uniform cropping.
    """

    def __init__(self, trunk: nn.Module, guide: AttentionGuide, keep: float):
        super().__init__(trunk)
        self.guide = guide
        self.kept = int(keep * trunk.patch_embed.num_patches)
        if not 0 < self.kept <= trunk.patch_embed.num_patches:
            raise ValueError(f"keep is {keep}; of {trunk.patch_embed.num_patches} patches it must leave at least one.")

    def forward(self, images: Tensor) -> Tensor:
        """Map `[B, 3, H, W]` to `[B, D]` of unit norm."""
        attention = nn.functional.interpolate(self.guide(images), self.trunk.patch_embed.grid_size, mode="bilinear")
        kept = attention.flatten(1).topk(self.kept, dim=1).indices
        tokens = self.trunk.blocks(embed_patches(self.trunk, images, kept))
        return unit(self.trunk.forward_head(self.trunk.norm(tokens)))


class AttentionGuide(nn.Module):
    """The frozen aerial Transformer of stage 1: the attention of its two extra tokens to each place of an image.

    Args:
        trunk: a distilled Transformer; it gets no gradient and stays in evaluation mode.
        eight_bit: round attention down to steps of 1/255, as the authors' pictures do.

    Source: Zhu et al., CVPR 2022, attention-guided non-uniform cropping.
    """

    def __init__(self, trunk: nn.Module, eight_bit: bool):
        super().__init__()
        self.trunk = trunk.requires_grad_(False).eval()
        self.eight_bit = eight_bit
        self.filled = False  # whether weights have been loaded; else its attention means nothing
        self.register_load_state_dict_post_hook(_mark_as_filled)

    def train(self, mode: bool = True) -> AttentionGuide:
        """Stay in evaluation mode, whatever the mode."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Map `[B, 3, H, W]` of any size to attention `[B, 1, h, w]`, 1 where it is greatest."""
        images = nn.functional.interpolate(images, self.trunk.patch_embed.img_size, mode="bilinear", antialias=True)
        attention = extra_token_attention(self.trunk, images)
        attention = attention / attention.amax(dim=(2, 3), keepdim=True)
        return (attention * 255).floor() / 255 if self.eight_bit else attention


def embed_patches(vit: nn.Module, images: Tensor, kept: Tensor | None = None) -> Tensor:
    """Map images `[B, 3, H, W]` to tokens `[B, 2 + n, C]` that enter the first block.

    Args:
        vit: a distilled Transformer.
        images: of its size.
        kept: int64 `[B, n]`, the patches that become tokens, each with its own position embedding; None: all.
    """
    extra = torch.cat([vit.cls_token, vit.dist_token], dim=1) + vit.pos_embed[:, :EXTRA_TOKENS]
    patches = vit.patch_embed(images) + vit.pos_embed[:, EXTRA_TOKENS:]
    if kept is not None:
        patches = patches.gather(1, kept.unsqueeze(2).expand(-1, -1, patches.shape[2]))
    return torch.cat([extra.expand(len(images), -1, -1), patches], dim=1)


def extra_token_attention(vit: nn.Module, images: Tensor) -> Tensor:
    """Map `[B, 3, H, W]` to the attention `[B, 1, h, w]` of class and distillation token in the last block."""
    *blocks, last = vit.blocks
    tokens = embed_patches(vit, images)
    for block in blocks:
        tokens = block(tokens)
    qkv = last.attn.qkv(last.norm1(tokens)).unflatten(2, (3, last.attn.num_heads, -1))
    queries, keys, _ = qkv.permute(2, 0, 3, 1, 4)  # [B, heads, tokens, C / heads] each
    scores = queries[:, :, :EXTRA_TOKENS] @ keys.transpose(2, 3) * last.attn.scale
    attention = scores.float().softmax(dim=3)[..., EXTRA_TOKENS:].sum(dim=(1, 2))
    return attention.unflatten(1, vit.patch_embed.grid_size).unsqueeze(1)


def _mark_as_filled(guide: AttentionGuide, _: object) -> None:
    guide.filled = True


def unit(embeddings: Tensor) -> Tensor:
    """Bring embeddings `[B, D]` to unit norm, in fp32."""
    with torch.autocast(embeddings.device.type, enabled=False):
        return nn.functional.normalize(embeddings.float(), dim=1)
