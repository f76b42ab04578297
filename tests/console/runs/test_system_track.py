from console.runs.system_track import SystemTrack


def test_each_gpu_is_a_line_of_its_own() -> None:
    track = SystemTrack()
    for t in range(3):
        track.take_in(float(t), {"gpu": [{"util": 90 + t, "mem_used": 1e9}, {"util": 50}], "cpu": 20.0})
    assert [values[0].tolist() for values in track.lines("util").values()] == [[90, 91, 92], [50, 50, 50]]
    assert list(track.lines("memory")) == [0]
    assert track.lines("cpu")[0][0].tolist() == [20, 20, 20]
    assert track.lines("net_recv") == {}
    assert track.times.tolist() == [0, 1, 2]


def test_what_is_no_number_is_left_out() -> None:
    track = SystemTrack()
    track.take_in(0.0, {"gpu": "none", "cpu": None, "ram": "35", "disk_free": float("nan"), "net_recv": True})
    track.take_in(1.0, {"gpu": [None, {"util": [1]}]})
    assert len(track) == 0


def test_a_week_of_events_takes_bounded_memory() -> None:
    track = SystemTrack()
    for t in range(20_000):
        track.take_in(float(t), {"cpu": float(t % 100)})
    assert len(track) <= 4096
    assert track.lines("cpu")[0][2].max() == 99
