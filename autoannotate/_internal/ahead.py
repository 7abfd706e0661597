"""Work that is done ahead of the one who waits for it, in order and never far."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


def ahead(items: Iterable[A], work: Callable[[A], B], threads: int) -> Iterator[tuple[A, B]]:
    """Each item with what `work` makes of it, in the items' order, the next `2 threads` begun meanwhile.

    >>> list(ahead([1, 2, 3], lambda n: n * n, 2))
    [(1, 1), (2, 4), (3, 9)]
    """
    with ThreadPoolExecutor(threads) as pool:
        begun: deque[tuple[A, Future[B]]] = deque()
        try:
            for item in items:
                begun.append((item, pool.submit(work, item)))
                if len(begun) > 2 * threads:
                    first, future = begun.popleft()
                    yield first, future.result()
            while begun:
                first, future = begun.popleft()
                yield first, future.result()
        finally:  # who stops listening does not wait for the rest
            for _, future in begun:
                future.cancel()
