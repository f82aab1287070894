"""What memory is free, as the system and a container's limits say it."""

from __future__ import annotations

from pathlib import Path

from labwright.base.memory import free_memory


def test_the_memory_that_is_free_is_what_a_container_has_left(tmp_path: Path) -> None:
    def written(name: str, text: str) -> None:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)

    written("proc/meminfo", "MemTotal:  9000 kB\nMemAvailable:    5000 kB\n")
    assert free_memory(tmp_path) == 5000 * 1024
    written("sys/fs/cgroup/memory.max", "max\n")
    written("sys/fs/cgroup/memory.stat", "anon 1000000\nfile 700\n")
    assert free_memory(tmp_path) == 5000 * 1024
    written("sys/fs/cgroup/memory.max", "3000000\n")
    assert free_memory(tmp_path) == 2_000_000
    written("sys/fs/cgroup/memory/memory.limit_in_bytes", "2500000\n")
    written("sys/fs/cgroup/memory/memory.stat", "total_rss 2400000\n")
    assert free_memory(tmp_path) == 100_000
