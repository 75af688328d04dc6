// A fixed set of threads that share the rows of one frame.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace blurvote {

class ThreadPool {
  public:
    // threads: how many threads work on a task, the caller of run() included.
    explicit ThreadPool(int threads);
    ~ThreadPool();
    ThreadPool(const ThreadPool&) = delete;
    ThreadPool& operator=(const ThreadPool&) = delete;

    int threads() const { return static_cast<int>(workers_.size()) + 1; }

    // Calls task(index, thread) for index 0 .. count - 1, each once, and returns when all are done.
    // thread is 0 .. threads() - 1. The task must not throw. One run at a time.
    void run(int count, const std::function<void(int, int)>& task);

  private:
    void work(int thread);
    void drain(int thread);

    std::vector<std::thread> workers_;
    std::mutex mutex_;
    std::condition_variable start_, finish_;
    const std::function<void(int, int)>* task_ = nullptr;
    std::atomic<int> next_{0};
    int count_ = 0;
    int working_ = 0;    // workers inside the current run
    bool open_ = false;  // whether a worker that wakes up may still join it
    unsigned long run_ = 0;
    bool stop_ = false;
};

}  // namespace blurvote
