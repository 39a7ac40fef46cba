"""Images sent to a plain `vllm serve`, decoded as `encode_image` decodes them."""

from __future__ import annotations

from typing import Any

from vllm.model_executor.models.qwen2_5_vl import Qwen2_5_VLProcessingInfo
from vllm.model_executor.models.qwen2_vl import Qwen2VLMultiModalDataParser

from ..inputs.sources import load_image


class ImageParser(Qwen2VLMultiModalDataParser):  # type: ignore[misc]
    """Decodes the original bytes of each image again, since vLLM's decoding turns 16-bit greyscale to white."""

    def _parse_image_data(self, data: Any) -> Any:
        several = isinstance(data, list)
        items = [_decoded(item) for item in (data if several else [data])]
        return super()._parse_image_data(items if several else items[0])


class ProcessingInfo(Qwen2_5_VLProcessingInfo):  # type: ignore[misc]
    """vLLM's processing info with `ImageParser` as its parser."""

    def get_data_parser(self) -> ImageParser:
        theirs = super().get_data_parser()
        theirs.__class__ = ImageParser
        return theirs  # type: ignore[no-any-return]


def _decoded(item: Any) -> Any:
    data = getattr(item, "original_bytes", None)
    return load_image(data) if isinstance(data, bytes) else item
