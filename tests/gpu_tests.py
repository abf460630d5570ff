"""The tests that need a GPU."""

from __future__ import annotations

# all tests that need a GPU, and those that find their kinds of fault without one
GPU_TESTS = {
    "test_files_give_the_numbers_of_the_gpus_memory": "test_embeddings_may_lie_elsewhere_than_the_device",
    "test_a_gpu_gives_the_ranks_of_a_cpu": "test_large_tiles_find_the_ranks_of_small_ones",
}
