"""`Staging`: a copy of a state that the program may go on changing, in buffers that are used again for the next one."""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import Any

import torch


class Staging:
    """Copies trees of plain values and tensors. The copy that was taken last is overwritten by the next one."""

    def __init__(self) -> None:
        self._buffers: dict[tuple[Any, ...], list[torch.Tensor]] = {}
        self._used: dict[tuple[Any, ...], int] = {}
        self._seen: dict[tuple[Any, ...], torch.Tensor] = {}

    def copy(self, tree: Any) -> Any:
        """Return a copy of ``tree`` on the CPU; tensors that share their memory share it in the copy too."""
        self._used.clear()
        self._seen.clear()
        copied = self._copy(tree)
        if torch.cuda.is_available() and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            torch.cuda.synchronize()  # copies from a GPU into pinned memory are under way
        self._seen.clear()
        return copied

    def _copy(self, tree: Any) -> Any:
        if isinstance(tree, torch.Tensor):
            return self._copy_tensor(tree)
        if isinstance(tree, dict):
            copied = type(tree)() if type(tree) in (OrderedDict, Counter) else {}
            copied.update((key, self._copy(value)) for key, value in tree.items())
            if (metadata := getattr(tree, "_metadata", None)) is not None:
                # The versions of a module's parts, which tell how an old state is to be read.
                vars(copied)["_metadata"] = metadata
            return copied
        if isinstance(tree, list):
            return [self._copy(item) for item in tree]
        if isinstance(tree, tuple):
            items = [self._copy(item) for item in tree]
            return type(tree)._make(items) if hasattr(tree, "_make") else tuple(items)
        return set(tree) if isinstance(tree, set) else tree

    def _copy_tensor(self, tensor: torch.Tensor) -> torch.Tensor:
        tensor = tensor.detach()
        if tensor.layout is not torch.strided or tensor.is_quantized:
            return tensor.cpu().clone()
        same = (tensor.device, tensor.data_ptr(), tuple(tensor.shape), tuple(tensor.stride()), tensor.dtype)
        if tensor.numel() and same in self._seen:
            return self._seen[same]
        shape = (tuple(tensor.shape), tensor.dtype, tensor.device.type)
        buffers = self._buffers.setdefault(shape, [])
        index = self._used.get(shape, 0)
        self._used[shape] = index + 1
        if index == len(buffers):
            pinned = tensor.device.type == "cuda"
            buffers.append(torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu", pin_memory=pinned))
        target = buffers[index]
        target.copy_(tensor, non_blocking=True)
        self._seen[same] = target
        return target


class TorchFormat:
    """Files of ``torch.save``, from a copy in buffers that are used again."""

    suffix = ".pt"

    def __init__(self) -> None:
        self._staging = Staging()

    def copy(self, state: dict[str, Any]) -> dict[str, Any]:
        copied: dict[str, Any] = self._staging.copy(state)
        return copied

    def write(self, state: dict[str, Any], file: Any) -> None:
        torch.save(state, file)
