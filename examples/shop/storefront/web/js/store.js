// What this browser remembers: which cart is its own, and which orders.

const read = (key, otherwise) => {
  try {
    return JSON.parse(localStorage.getItem("peristyle." + key)) ?? otherwise;
  } catch {
    return otherwise; // private windows, or a value that someone has edited
  }
};

const write = (key, value) => {
  try {
    localStorage.setItem("peristyle." + key, JSON.stringify(value));
  } catch {
    // then it is forgotten with the page
  }
};

const MAX_ORDERS = 50;

export const cartId = () => read("cart", "");
export const keepCart = (id) => write("cart", id);
export const orderIds = () => read("orders", []);
export const keepOrder = (id) => write("orders", [id, ...orderIds().filter((o) => o !== id)].slice(0, MAX_ORDERS));
