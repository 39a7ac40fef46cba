#include <vector>

namespace demo {

template <typename T>
class Stack {
 public:
  void push(T item) { items_.push_back(item); }
  ~Stack() {
    clear();
  }

 private:
  std::vector<T> items_;
};

int Stack<int>::size() const {
  return 0;
}

}  // namespace demo
